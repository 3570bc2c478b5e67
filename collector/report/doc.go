// Package report writes the periodic report on availability from one value, the [Model]: as JSON for programs, as a
// workbook (XLSX), and as a draft (DOCX) in the layout of Decree 30/2020/NĐ-CP, Appendix I.
//
// [Build] makes the Model from figures, profile and log. Everything here is a pure function: the same Model gives the
// same bytes, whenever and wherever they are made. Number, place, date and signature of a draft stay empty: the registry
// clerk (văn thư) numbers it, and a person signs it.
//
// What is not known is written as such. An availability is an interval; a target is met or missed only where the whole
// interval says so; and a stretch without data is "không có số liệu", never up and never down.
package report
