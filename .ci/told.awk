# Reads what `go test -v` prints, and prints what go test does without -v, and besides: each test that was skipped, in one line with why; and, of
# packages that cause accidents, how often each happened, which their tests log. Of a package that failed everything is printed in the order
# in which it came, but for the names of tests that passed without a word.

# The lines of several tests mix: one of these stands before those of another test.
/^=== [A-Z]+ / { test = $3; heading = $0; next }

/^ *--- PASS: / { counts = counts counted[$3]; next }

/^ *--- SKIP: / {
	sub(/^ +/, "")
	skips = skips $0 why[$3] "\n"
}

/^    / {
	reason = $0
	sub(/^ +/, "", reason)
	why[test] = why[test] ": " reason
}

/^ +[a-z0-9_]+_test\.go:[0-9]+: / { counted[test] = counted[test] $0 "\n" }

# With this line a package ends.
/^(ok  |FAIL|\?   )\t/ {
	if ($1 == "FAIL")
		whole()
	else
		printf "%s%s", skips, $2 ~ /\/deploy\/(e2e|disktest)$/ ? counts : ""
	print
	fflush()
	lines = 0
	heading = test = skips = counts = ""
	split("", why)
	split("", counted)
	next
}

{
	if (heading != "")
		line[++lines] = heading
	line[++lines] = $0
	heading = ""
}

# What no package ended: go test was broken off, or says FAIL of all.
END { whole() }

function whole(n) {
	for (n = 1; n <= lines; n++)
		print line[n]
}
