"""Studies made of the other rooms: the paper's tables, the cost of decoding, the claim ledger."""
