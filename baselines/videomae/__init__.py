"""VideoMAE (Tong et al. 2022, as in transformers) and the four rows of the paper that stand on it.

encoder.py    the network at both sizes, its weights, its input
masking.py    tube masks
pretrain.py   stage 1: masked reconstruction of rodent and human video
human_only.py, xspecies.py, linear_probe.py, zero_shot.py   one adapter each
"""
