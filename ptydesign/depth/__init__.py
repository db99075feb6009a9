"""Studies of depth: at which depth does multislice ptychography put single atoms, and how well does it resolve them?"""
