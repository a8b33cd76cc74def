"""Telling people what happened: facts -> inbox and channels -> messages. Start at `taking.py`, then `sending.py`."""
