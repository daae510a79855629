"""Text as files and tokenizers can take it."""


def valid_unicode(text: str) -> str:
    """Text that UTF-8 can hold: a lone surrogate, which JSON can spell (``\\ud800``), becomes U+FFFD."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
