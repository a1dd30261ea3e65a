"""Outbound: files of a folder to a DICOMweb server, told study by study."""
