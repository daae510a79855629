"""Datasets from hubs: listed, chosen, fetched with resume and checksums, and registered in a download.json."""
