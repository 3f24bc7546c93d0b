"""What a user reads: live table, leaderboard, files of a results folder."""
