"""The command line (and later the server and the console): words into calls, results into text. Nobody imports it."""
