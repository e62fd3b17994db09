"""Quality-aware pre-training of a backbone on labelled images: pairs, losses, loop; ends in a weights file
for the extraction.
"""
