"""Rented machines: their APIs, what runs on them unattended, and how they are shut down when a run is over.

secrets      keys from the environment or a 0600 file; taken out of every text that is shown
web          requests with time-outs, retries, and errors that say what to do
runpod_*     RunPod: API, placing a pod, spot pods, commands
autodl_*     AutoDL: instances (Pro) and elastic deployments, commands
lambda_*     Lambda: instances, commands
shut_down    this machine's own way to stop; after a run, or when it is idle
unattended   runs a launch file on a machine that nobody looks at
"""
