"""Which attributes are read: the whitelist of headers, and the texts that decide character sets.

Everything else stays in the file: private elements, sequences, overlays and free text never travel
into a result. The list holds what SEG and SR need of their source (type 1 and 2 of the patient and
study modules, the geometry, the equipment) and what choosing and judging a series need.
"""

from pydicom.datadict import tag_for_keyword


def _tags(keywords: str) -> frozenset[int]:
    tags = {keyword: tag_for_keyword(keyword) for keyword in keywords.split()}
    assert None not in tags.values(), tags
    return frozenset(tag for tag in tags.values() if tag is not None)


HEADER = _tags(
    """
    SpecificCharacterSet ImageType SOPClassUID SOPInstanceUID TimezoneOffsetFromUTC StudyDate
    SeriesDate AcquisitionDate ContentDate AcquisitionDateTime StudyTime SeriesTime
    AcquisitionTime ContentTime AccessionNumber Modality Manufacturer ReferringPhysicianName
    StudyDescription ManufacturerModelName PatientName PatientID IssuerOfPatientID
    PatientBirthDate PatientSex PatientAge PatientSize PatientWeight BodyPartExamined
    SliceThickness SpacingBetweenSlices DeviceSerialNumber SoftwareVersions GantryDetectorTilt
    ConvolutionKernel StudyInstanceUID SeriesInstanceUID StudyID AcquisitionNumber
    InstanceNumber ImagePositionPatient ImageOrientationPatient FrameOfReferenceUID Laterality
    NumberOfStudyRelatedInstances NumberOfSeriesRelatedInstances PositionReferenceIndicator
    SamplesPerPixel PhotometricInterpretation NumberOfFrames Rows Columns PixelSpacing
    BitsAllocated BitsStored HighBit PixelRepresentation PixelPaddingValue RescaleIntercept
    RescaleSlope RescaleType LossyImageCompression LossyImageCompressionRatio
    LossyImageCompressionMethod
    """
)

NAMES = _tags(
    """
    ReferringPhysicianName ConsultingPhysicianName PhysiciansOfRecord PerformingPhysicianName
    NameOfPhysiciansReadingStudy OperatorsName PatientName OtherPatientNames PatientBirthName
    PatientMotherBirthName ResponsiblePerson RequestingPhysician ScheduledPerformingPhysicianName
    VerifyingObserverName PersonName ContentCreatorName
    """
)

TEXTS = _tags(
    """
    InstitutionName InstitutionAddress StationName StudyDescription SeriesDescription
    InstitutionalDepartmentName AdmittingDiagnosesDescription DerivationDescription
    PatientComments AdditionalPatientHistory ContrastBolusAgent ProtocolName ImageComments
    RequestedProcedureDescription PerformedProcedureStepDescription RequestedProcedureComments
    AcquisitionProtocolDescription StudyID AccessionNumber BodyPartExamined
    """
)

WANTED = HEADER | NAMES | TEXTS
