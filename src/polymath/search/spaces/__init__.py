"""What is searched: functions that make named choices. The only part of search that sees paths and recipes."""
