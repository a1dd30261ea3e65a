"""DICOM in, findings and DICOM results out. Pure: no database, no web, no torch."""
