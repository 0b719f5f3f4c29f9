"""Files to arrays: the HMS layout and the memory-mapped store.

`layout` reads and checks the tables and files of a data set, `dataset_stores` copies its recordings once into one
memory-mapped `store`. No labels, no models; torch only to change rates and to round.
"""
