"""What a supervisor is made of: kernel calls, process reading, the child's side, the log, crash points.

Standard library only, and no Django: this code outlives the service that started it.
"""
