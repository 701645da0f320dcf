"""Figures of real models."""
