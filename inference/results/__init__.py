"""What an analysis leaves behind: findings.json, DICOM SEG and SR, key images."""
