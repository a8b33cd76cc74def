"""What reports are made of: bookings and cards by day, computed from rows, and stored for finished days."""
