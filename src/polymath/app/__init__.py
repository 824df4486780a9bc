"""The command line (and later the server and the console): turns words into calls and results into text. Nobody imports it."""
