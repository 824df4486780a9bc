"""Families of related tasks for growing.py: one file makes the tasks of one family, the others learn and judge them."""
