"""The identity benchmark: clips of rows x subjects x prompts x seeds, their scores, and what they say.

plan      a YAML file -> which clips are wanted
world     what is asked of whatever has subjects, a model and scores
folders   a checkpoint and folders of photos as such a world
worlds    the one that a plan names
store     one line of CSV a clip, that survives being killed
learned   what methods learned, kept by fingerprint
running   makes and scores what is missing
pieces    the same in pieces, for processes that have no folder in common
cluster   which Ray starts wherever there is room
summary   means, intervals and differences
report    tables, plots and contact sheets
"""
