"""Writes DICOM radiographs for the tests."""

import numpy as np
import pydicom
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid


def make(pixels: np.ndarray | None, bits: int = 8, photometric: str = "MONOCHROME2", **elements) -> pydicom.FileDataset:
    """A DICOM data set of `pixels` (H, W) unsigned, with patient identifiers that no reader may pass on."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = pydicom.FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Secret^Name", "SECRET-ID", "19010203"
    dataset.Modality = "DX"
    if pixels is not None:
        dataset.Rows, dataset.Columns = pixels.shape[:2]
        dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else pixels.shape[-1]
        if pixels.ndim == 3:
            dataset.PlanarConfiguration = 0
        dataset.PhotometricInterpretation = photometric
        dataset.BitsAllocated = 8 if bits <= 8 else 16
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, 0
        dataset.PixelData = pixels.astype(np.uint8 if bits <= 8 else np.uint16).tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def write(path, *args, **kwargs):
    """Writes `make(...)` to `path` and returns the path."""
    make(*args, **kwargs).save_as(path, enforce_file_format=True)
    return path
