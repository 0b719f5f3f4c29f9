"""A run is a folder that explains itself.

``outputs/runs/<member>/fold<k>/`` holds the resolved config, the environment, the weights with the constructor
arguments of front-end and network, the metrics and the prediction table. The member's name ends in a hash of all that
decides its predictions except the fold, so that the same command finds the same folder again: a finished fold is kept,
an interrupted one goes on.
"""
