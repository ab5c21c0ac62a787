"""Writes the spreadsheets that the tests read, beside itself. scripts/spreadsheets installs what it needs and runs it.

The same table is in kinds.xlsx, kinds-1904.xlsx, kinds.xls, kinds-1904.xls and kinds.ods: the third of four sheets, below two empty
rows, with one row for each fault. Other files have one thing each.
"""

import datetime
import pathlib
import shutil
import zipfile

import msoffcrypto.format.ooxml
import openpyxl
import xlsxwriter
import xlwt
from odf import number, office, style, table, text
from odf.opendocument import OpenDocumentSpreadsheet

HERE = pathlib.Path(__file__).parent
HEADER = ["Reference", "amount", "code", "count", "paid", "day", "at", "time", "took", "total", "label", "DueDate"]
DAY = datetime.date(2026, 9, 1)
AT = datetime.datetime(2026, 9, 1, 14, 30)
TIME = datetime.time(14, 30)
TOOK = datetime.timedelta(hours=36, minutes=30)
DUE = datetime.date(2031, 9, 1)
ERROR = "#N/A"


def xlsx_table(path, options):
    workbook = xlsxwriter.Workbook(path, options)
    workbook.set_properties({"created": datetime.datetime(2026, 1, 1)})
    day = workbook.add_format({"num_format": "dd.mm.yyyy"})
    at = workbook.add_format({"num_format": "yyyy-mm-dd hh:mm"})
    time = workbook.add_format({"num_format": "hh:mm"})
    took = workbook.add_format({"num_format": "[h]:mm"})
    workbook.add_worksheet("Empty")
    notes = workbook.add_worksheet("Notes")
    notes.write_row(0, 0, ["a", "b"])
    notes.write_row(1, 0, ["hidden", 1])
    notes.hide()
    sheet = workbook.add_worksheet("Invoices")
    sheet.write_row(2, 0, HEADER)
    row = 3
    for reference, amount, code, count, paid in [("R-1", 20.4, "007", 3, True), ("R-2", 20, "12", 1_000_000, False)]:
        sheet.write_string(row, 0, reference)
        sheet.write_number(row, 1, amount)
        sheet.write_string(row, 2, code)
        sheet.write_number(row, 3, count)
        sheet.write_boolean(row, 4, paid)
        sheet.write_datetime(row, 5, DAY, day)
        sheet.write_datetime(row, 6, AT, at)
        sheet.write_datetime(row, 7, TIME, time)
        sheet.write_datetime(row, 8, TOOK, took)
        sheet.write_formula(row, 9, f"=B{row + 1}*2", None, amount * 2)
        sheet.write_formula(row, 10, f'=A{row + 1}&"!"', None, reference + "!")
        sheet.write_datetime(row, 11, DUE, day)
        row += 2
    sheet.write_string(row, 0, "R-3")
    sheet.write_formula(row, 9, "=NA()", None, ERROR)
    sheet.write_string(row, 2, "009")
    row += 1
    sheet.write_string(row, 0, "R-4")
    sheet.write_string(row, 2, "010")
    more = workbook.add_worksheet("March 2026")
    more.write_row(0, 0, ["n"])
    more.write_row(1, 0, [7])
    workbook.close()


def xls_table(path, is_1904):
    workbook = xlwt.Workbook()
    workbook.dates_1904 = is_1904
    form = lambda pattern: xlwt.easyxf(num_format_str=pattern)
    workbook.add_sheet("Empty")
    notes = workbook.add_sheet("Notes")
    notes.write(0, 0, "a")
    notes.write(1, 0, "hidden")
    notes.visibility = 1
    sheet = workbook.add_sheet("Invoices")
    # xlwt turns dates into numbers of the 1900 system, whatever the workbook says.
    shift = 1462 if is_1904 else 0
    serial = lambda date: (date - datetime.date(1899, 12, 30)).days - shift
    for column, name in enumerate(HEADER):
        sheet.write(2, column, name)
    row = 3
    for reference, amount, code, count, paid in [("R-1", 20.4, "007", 3, True), ("R-2", 20, "12", 1_000_000, False)]:
        sheet.write(row, 0, reference)
        sheet.write(row, 1, amount)
        sheet.write(row, 2, code)
        sheet.write(row, 3, count)
        sheet.write(row, 4, paid)
        sheet.write(row, 5, serial(DAY), form("DD.MM.YYYY"))
        sheet.write(row, 6, serial(DAY) + 14.5 / 24, form("YYYY-MM-DD HH:MM"))
        sheet.write(row, 7, 14.5 / 24, form("HH:MM"))
        sheet.write(row, 8, 36.5 / 24, form("[h]:mm"))
        # xlwt does not calculate, so what formulas give is written as values.
        sheet.write(row, 9, amount * 2)
        sheet.write(row, 10, reference + "!")
        sheet.write(row, 11, serial(DUE), form("DD.MM.YYYY"))
        row += 2
    sheet.write(row, 0, "R-3")
    sheet.write(row, 2, "009")
    sheet.row(row).set_cell_error(9, "#N/A!")
    row += 1
    sheet.write(row, 0, "R-4")
    sheet.write(row, 2, "010")
    more = workbook.add_sheet("March 2026")
    more.write(0, 0, "n")
    more.write(1, 0, 7)
    workbook.save(path)


def ods_cell(kind=None, shown="", **attributes):
    attributes = {name: str(value) for name, value in attributes.items()}
    cell = table.TableCell(**({"valuetype": kind} if kind else {}), **attributes)
    for line in str(shown).split("\n"):
        if line:
            cell.addElement(text.P(text=line))
    return cell


def ods_row(parent, *cells, **attributes):
    row = table.TableRow(**attributes)
    for cell in cells:
        row.addElement(cell)
    parent.addElement(row)


def ods_table(path):
    document = OpenDocumentSpreadsheet()
    took = number.TimeStyle(name="N1", truncateonoverflow="false")
    took.addElement(number.Hours())
    took.addElement(number.Text(text=":"))
    took.addElement(number.Minutes(style="long"))
    document.automaticstyles.addElement(took)
    document.automaticstyles.addElement(style.Style(name="took", family="table-cell", datastylename="N1"))
    hidden = style.Style(name="hidden", family="table")
    hidden.addElement(style.TableProperties(display="false"))
    document.automaticstyles.addElement(hidden)
    string = lambda value: ods_cell("string", value)
    amount = lambda value: ods_cell("float", value, value=value)

    document.spreadsheet.addElement(table.Table(name="Empty"))
    notes = table.Table(name="Notes", stylename="hidden")
    ods_row(notes, string("a"))
    ods_row(notes, string("hidden"))
    document.spreadsheet.addElement(notes)

    sheet = table.Table(name="Invoices")
    sheet.addElement(table.TableColumn(numbercolumnsrepeated=8))
    sheet.addElement(table.TableColumn(defaultcellstylename="took"))
    ods_row(sheet, ods_cell(numbercolumnsrepeated=12), numberrowsrepeated=2)
    ods_row(sheet, *map(string, HEADER))
    for reference, value, code, count, paid in [("R-1", 20.4, "007", 3, True), ("R-2", 20, "12", 1_000_000, False)]:
        ods_row(
            sheet,
            string(reference),
            ods_cell("currency", f"{value} EUR", value=value, currency="EUR"),
            string(code),
            amount(count),
            ods_cell("boolean", str(paid).upper(), booleanvalue=str(paid).lower()),
            ods_cell("date", "01.09.2026", datevalue="2026-09-01"),
            ods_cell("date", "01.09.2026 14:30", datevalue="2026-09-01T14:30:00"),
            ods_cell("time", "14:30", timevalue="PT14H30M00S"),
            ods_cell("time", "36:30", timevalue="PT36H30M00S"),
            ods_cell("float", value * 2, value=value * 2, formula="of:=[.B4]*2"),
            ods_cell("string", reference + "!", formula='of:=[.A4]&"!"'),
            ods_cell("date", "01.09.2031", datevalue="2031-09-01"),
        )
        if reference == "R-1":
            ods_row(sheet, ods_cell(numbercolumnsrepeated=12))
    ods_row(sheet, ods_cell(numbercolumnsrepeated=12))
    empty = lambda columns: ods_cell(numbercolumnsrepeated=columns)
    ods_row(sheet, string("R-3"), empty(1), string("009"), empty(6), ods_cell("string", ERROR, formula="of:=NA()"))
    ods_row(sheet, string("R-4"), empty(1), string("010"), empty(16_381))
    ods_row(sheet, empty(16_384), numberrowsrepeated=1_048_000)
    document.spreadsheet.addElement(sheet)

    more = table.Table(name="March 2026")
    ods_row(more, string("n"))
    ods_row(more, amount(7))
    document.spreadsheet.addElement(more)
    document.save(path)
    # The library does not know the namespace in which LibreOffice marks errors.
    edit(path, "content.xml", lambda xml: xml.replace(
        'table:formula="of:=NA()"', 'table:formula="of:=NA()" calcext:value-type="error"'
    ).replace("<office:document-content ", '<office:document-content '
              'xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0" ', 1))


def edit(path, part, change):
    """Changes a part of an archive."""
    copy = path.with_suffix(".tmp")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename == part:
                changed = change(data.decode())
                assert changed != data.decode(), f"{path}: {part} is as before"
                data = changed.encode()
            new.writestr(info, data)
    shutil.move(copy, path)


def merged_xlsx(path):
    workbook = xlsxwriter.Workbook(path)
    sheet = workbook.add_worksheet()
    sheet.write_row(0, 0, ["group", "n", "note"])
    for row in range(1, 5):
        sheet.write_number(row, 1, row)
    sheet.merge_range(1, 0, 2, 0, "A")
    sheet.write_string(3, 0, "B")
    sheet.merge_range(3, 2, 4, 2, "both")
    # What a program left behind the first cell.
    sheet.write_string(2, 0, "behind")
    workbook.close()


def merged_xls(path):
    workbook = xlwt.Workbook()
    sheet = workbook.add_sheet("Sheet1")
    for column, name in enumerate(["group", "n", "note"]):
        sheet.write(0, column, name)
    for row in range(1, 5):
        sheet.write(row, 1, row)
    sheet.write_merge(1, 2, 0, 0, "A")
    sheet.write(3, 0, "B")
    sheet.write_merge(3, 4, 2, 2, "both")
    workbook.save(path)


def merged_ods(path):
    document = OpenDocumentSpreadsheet()
    sheet = table.Table(name="Sheet1")
    string = lambda value: ods_cell("string", value)
    amount = lambda value: ods_cell("float", value, value=value)
    covered = lambda value: table.CoveredTableCell(valuetype="string", stringvalue=value)
    merged = lambda value: ods_cell("string", value, numberrowsspanned=2, numbercolumnsspanned=1)
    ods_row(sheet, string("group"), string("n"), string("note"))
    ods_row(sheet, merged("A"), amount(1))
    ods_row(sheet, covered("behind"), amount(2))
    ods_row(sheet, string("B"), amount(3), merged("both"))
    ods_row(sheet, ods_cell(), amount(4), covered(""))
    document.spreadsheet.addElement(sheet)
    document.save(path)


def formula_without_value(path):
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    sheet.append(["n", "twice", "day"])
    sheet.append([1, "=A2*2", DAY])
    sheet.append([2, 4, None])
    workbook.save(path)


def odd_values(path):
    """Numbers of many digits, days that do not exist, texts that look like numbers, and lines in a cell."""
    workbook = xlsxwriter.Workbook(path)
    sheet = workbook.add_worksheet()
    day = workbook.add_format({"num_format": "yyyy-mm-dd"})
    sheet.write_row(0, 0, ["number", "text", "day"])
    rows = [(0.1 + 0.2, "1", 46266), (-1.5, "two\nlines", 60), (2**53, " spaces ", -1), (1e300, "=1+1", 2958465)]
    for row, (value, words, serial) in enumerate(rows, 1):
        sheet.write_number(row, 0, value)
        sheet.write_string(row, 1, words)
        sheet.write_number(row, 2, serial, day)
    workbook.close()


def empty(path):
    workbook = xlsxwriter.Workbook(path)
    workbook.add_worksheet("One")
    workbook.add_worksheet("Two").hide()
    workbook.close()


def wide_xls(path):
    """Two cells whose rectangle has 16.7 million."""
    workbook = xlwt.Workbook()
    sheet = workbook.add_sheet("Sheet1")
    sheet.write(0, 0, "n")
    sheet.write(65_535, 255, 1)
    workbook.save(path)


def repeated_ods(path):
    """One cell that is repeated over the whole sheet."""
    document = OpenDocumentSpreadsheet()
    sheet = table.Table(name="Sheet1")
    ods_row(sheet, ods_cell("string", "n", numbercolumnsrepeated=16_384), numberrowsrepeated=1_048_576)
    document.spreadsheet.addElement(sheet)
    document.save(path)


def password(path):
    with open(HERE / "merged.xlsx", "rb") as plain, open(path, "wb") as encrypted:
        msoffcrypto.format.ooxml.OOXMLFile(plain).encrypt("secret", encrypted)


def password_ods(path):
    shutil.copy(HERE / "merged.ods", path)
    edit(path, "META-INF/manifest.xml", lambda xml: xml.replace(
        "</manifest:manifest>",
        '<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml">'
        '<manifest:encryption-data manifest:checksum-type="SHA256/1K"/></manifest:file-entry></manifest:manifest>'))


xlsx_table(HERE / "kinds.xlsx", {})
xlsx_table(HERE / "kinds-1904.xlsx", {"date_1904": True})
xls_table(str(HERE / "kinds.xls"), False)
xls_table(str(HERE / "kinds-1904.xls"), True)
ods_table(HERE / "kinds.ods")
merged_xlsx(HERE / "merged.xlsx")
merged_xls(str(HERE / "merged.xls"))
merged_ods(HERE / "merged.ods")
formula_without_value(HERE / "formula-without-value.xlsx")
odd_values(HERE / "odd-values.xlsx")
empty(HERE / "empty.xlsx")
wide_xls(str(HERE / "wide.xls"))
repeated_ods(HERE / "repeated.ods")
password(HERE / "password.xlsx")
password_ods(HERE / "password.ods")
