"""Tuning studies: which reconstruction parameters are best for this data, in this much time or work, without a truth.

After Cao, Chen, Jiang & Han, Sci. Rep. 12:12284 (2022), second half.
"""
