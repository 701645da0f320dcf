"""Figures: their numbers (`data`), how they are drawn (`draw`), one palette (`theme`)."""
