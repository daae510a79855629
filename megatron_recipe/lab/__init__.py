"""The lab: what each choice changes. Comparisons of settings are planned, run and judged with honest error bars."""
