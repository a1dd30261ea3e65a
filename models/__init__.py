"""Model packages and runtimes: arrays in, arrays out. Knows nothing of DICOM."""
