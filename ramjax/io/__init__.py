"""Other people's files: radiographs, DICOM, COCO, spreadsheets, release trees.

Used by the data builders, prediction and the phantom's command.
"""
