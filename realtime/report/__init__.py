"""A page for reading a run afterwards: python -m realtime.report run.jsonl."""
