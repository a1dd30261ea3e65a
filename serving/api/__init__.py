"""What other programs ask over HTTP: DICOMweb and our own ``/api/v1``."""
