"""One encoder a kind of column: documents' Arrow arrays in, stored arrays, faults and summaries out."""
