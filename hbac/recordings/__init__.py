"""Files to arrays: the HMS layout, the synthetic data set in that layout, and the memory-mapped store.

`layout` reads and checks the tables and files of a data set, `store` copies its recordings once into one
memory-mapped array, `synthetic` makes a data set in the same layout. No torch here, no labels, no models.
"""
