"""Layer selection in LLM decoding as an optimal stopping problem: theory and simulation."""
