"""The arithmetic of reports: pure, in whole microseconds, so that sums are exact."""
