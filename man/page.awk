# Makes a page of the manual from what is written already: `snap COMMAND --help` (the first file) and
# docs/commands.md (the second).  For snap(1) itself the command is empty, the help is that of
# `snap --help`, and a third file has the sections that stand nowhere else.
#	awk -v command=NAME -v summary=TEXT -v version=V -v date=D -f page.awk HELP COMMANDS.md [MORE]

# Words to stand as they are: hyphens are minus signs, nothing is a request.
function plain(s) {
	gsub(/\\/, "\\e", s)
	gsub(/-/, "\\-", s)
	return s
}

# A line of Markdown: `code` is bold, *words* are italic.
function inline(s,  n, part, i, out) {
	n = split(s, part, "`")
	for (i = 1; i <= n; i++) {
		if (i % 2 == 0) {
			out = out "\\fB" plain(part[i]) "\\fR"
			continue
		}
		gsub(/\\/, "\\e", part[i])
		gsub(/--/, "\\-\\-", part[i])
		while (match(part[i], /\*[^*]+\*/))
			part[i] = substr(part[i], 1, RSTART - 1) "\\fI" \
				substr(part[i], RSTART + 1, RLENGTH - 2) "\\fR" \
				substr(part[i], RSTART + RLENGTH)
		out = out part[i]
	}
	if (out ~ /^['.]/)
		out = "\\&" out
	return out
}

# Text goes to the section begun last; sections are printed in the order they were begun first.
function section(name) {
	if (!(name in text))
		order[++sections] = name
	current = name
}
function put(line) { text[current] = text[current] line "\n" }
function paragraph() {
	if (text[current] != "")
		put(".PP")
}

# A row of options as --help prints it; where the left side is long the rest is on the next line.
function option(line,  left, right) {
	if (line ~ /^                    /) {
		sub(/^ +/, "", line)
		put(inline(line))
		return
	}
	sub(/^ +/, "", line)
	left = line
	if (match(line, /   */)) {
		left = substr(line, 1, RSTART - 1)
		right = substr(line, RSTART + RLENGTH)
	}
	put(".TP")
	put("\\fB" plain(left) "\\fR")
	if (right != "")
		put(inline(right))
}

function end_code() {
	if (code)
		put(".RE\n.fi")
	code = 0
}

# A line of a section of the document.
function prose(line) {
	if (line ~ /^    /) {
		if (!code)
			put(".PP\n.nf\n.RS")
		code = 1
		put(plain(substr(line, 5)))
		return
	}
	end_code()
	if (line == "") {
		gap = 1
		return
	}
	if (line ~ /^- /) {
		put(".IP \\(bu 2")
		line = substr(line, 3)
	} else if (gap) {
		paragraph()
	}
	gap = 0
	sub(/^ +/, "", line)
	put(inline(line))
}

# Is this heading about the command?  As in "gc and its policy" and "ls, show, stats".
function about(head,  n, word, i) {
	if (command == "")
		return head == "Names" || head == "For scripts"
	n = split(head, word, /,? /)
	for (i = 1; i <= n; i++)
		if (word[i] == command)
			return 1
	return 0
}

# A row of the table of exit statuses, or of the one of JSON.
function table_row(line,  n, cell, i) {
	n = split(line, cell, "|")
	for (i = 2; i < n; i++)
		gsub(/^ +| +$/, "", cell[i])
	if (cell[2] == "command" || cell[2] == "exit status")
		table = cell[2]
	else if (cell[2] ~ /^-/)
		return
	else if (table == "exit status" && (cell[2] != "any" || command == "restore"))
		statuses = statuses ".TP\n\\fB" cell[2] "\\fR\n" inline(cell[3]) "\n"
	else if (table == "command" && index(", " cell[2] ",", ", `" command "`,"))
		json = json (json == "" ? "" : ".\n.PP\n") inline(cell[3])
}

BEGIN {
	printf ".TH SNAP%s 1 %s \"snap %s\" \"User Commands\"\n",
		command == "" ? "" : "\\-" toupper(command), date, version
	section("NAME")
	put("snap" (command == "" ? "" : "\\-" command) " \\- " inline(summary))
	section("SYNOPSIS")
}

FNR == 1 { file++ }

file == 1 && /^usage: / {
	put("\\fB" plain(substr($0, 8)) "\\fR")
	section("DESCRIPTION")
	next
}
file == 1 && /^commands:$/ { section("COMMANDS"); part = "commands"; next }
file == 1 && /^options:$/ { section("OPTIONS"); part = "options"; next }
file == 1 && /^options of every/ { section("OPTIONS OF EVERY COMMAND"); part = "options"; next }
file == 1 && /^snap COMMAND --help/ { part = "end" }
file == 1 && $0 == "" { next }
file == 1 && part == "" { put(inline($0)) }
file == 1 && part == "options" { option($0) }
file == 1 && part == "commands" {
	name = $1
	sub(/^ +[a-z]+ +/, "")
	put(".TP\n.BR snap\\-" name " (1)\n" inline($0))
}

file == 2 && /^## / {
	end_code()
	wanted = about(substr($0, 4))
	if (wanted)
		section(command == "" ? toupper(substr($0, 4)) : "DESCRIPTION")
	gap = 0
	if (wanted)
		paragraph()
	begun = 1
	next
}
file == 2 && /^\|/ { end_code(); table_row($0); next }
file == 2 && wanted && begun && $0 == "" { next }
file == 2 && wanted { begun = 0; prose($0) }

file == 3 { more = more $0 "\n" }

END {
	end_code()
	if (json != "") {
		section("JSON")
		put("With \\fB\\-\\-json\\fR: " json ".")
	}
	section("EXIT STATUS")
	put(substr(statuses, 1, length(statuses) - 1))
	if (command != "") {
		section("SEE ALSO")
		put(".BR snap (1)")
	}
	for (i = 1; i <= sections; i++)
		if (text[order[i]] != "")
			printf ".SH %s\n%s", order[i], text[order[i]]
	printf "%s", more
}
