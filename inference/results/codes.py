"""The coded concepts of SEG and SR, with their current meanings (docs/results.md, "Codes").

None of them is private. Where a code has lookalikes, the comment says which one it is not.
"""

from pydicom.sr.coding import Code

from inference.lungs import Laterality

MORPHOLOGICALLY_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
NODULE = Code("27925004", "SCT", "Nodule")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")

LUNG = Code("39607008", "SCT", "Lung")
SIDES = {
    Laterality.LEFT: Code("7771000", "SCT", "Left"),
    Laterality.RIGHT: Code("24028007", "SCT", "Right"),
}
# A lobe's code carries its side. Not 45653009 and 90572001: these are upper and lower lobe of no
# side.
LOBES = {
    code.value: code
    for code in (
        Code("42400003", "SCT", "Upper lobe of right lung"),
        Code("72481006", "SCT", "Middle lobe of right lung"),
        Code("266005", "SCT", "Lower lobe of right lung"),
        Code("44714003", "SCT", "Upper lobe of left lung"),
        Code("41224006", "SCT", "Lower lobe of left lung"),
    )
}

REPORT_TITLE = Code("126000", "DCM", "Imaging Measurement Report")
# From CID 100, which has no chest CT: 169069000 (SCT) would be an error of the template.
PROCEDURE = Code("25045-6", "LN", "CT unspecified body region")
DEVICE = Code("121007", "DCM", "Device")
ENGLISH = Code("en-US", "RFC5646", "English (United States)")

VOLUME = Code("118565006", "SCT", "Volume")
ATTENUATION = Code("112031", "DCM", "Attenuation Coefficient")
# A detection score; not 111047, "Probability of cancer".
CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
LONG_AXIS = Code("103339001", "SCT", "Long axis")
SHORT_AXIS = Code("103340004", "SCT", "Short axis")
DIAMETER = Code("81827009", "SCT", "Diameter")
MEAN = Code("373098007", "SCT", "Mean")

CUBIC_MILLIMETRE = Code("mm3", "UCUM", "cubic millimeter")
HOUNSFIELD_UNIT = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
PERCENT = Code("%", "UCUM", "percent")
MILLIMETRE = Code("mm", "UCUM", "millimeter")

SUMMARY = Code("111017", "DCM", "CAD Processing and Findings Summary")
SUCCEEDED_WITH_FINDINGS = Code("111242", "DCM", "All algorithms succeeded; with findings")
SUCCEEDED_WITHOUT_FINDINGS = Code("111241", "DCM", "All algorithms succeeded; without findings")
NOT_SUCCEEDED = Code("111245", "DCM", "No algorithms succeeded; without findings")
COMMENT = Code("121106", "DCM", "Comment")
