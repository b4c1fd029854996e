"""Files of others: radiographs, DICOM, COCO, sheets, release trees.

Used by the data builders, prediction and the phantom's command.
"""
