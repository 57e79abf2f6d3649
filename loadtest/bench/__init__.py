"""How fast is the service beside its peers? One machine in, a table of figures, ratios and bounds out. See README.md."""
