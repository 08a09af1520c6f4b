"""ACH: NACHA files are decided entry by entry, and come out without what must not go on."""
