"""The theorems: one file a group, one pure function a bound."""
