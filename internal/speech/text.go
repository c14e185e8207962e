package speech

import (
	"cmp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Lengths of clauses, in characters; speech is about 15 a second.
const (
	// maxClause bounds the work on one clause: 20 s of speech, 0.6 s of synthesis (measured: slt speaks 35 to 40
	// times as fast as it is heard).
	maxClause = 300
	// maxFirst bounds the first clause of an utterance where the text allows it, because somebody waits for
	// it: 8 s of speech. Later ones are made while an earlier one plays.
	maxFirst = 120
	// longFirst is when a first clause ends at a comma already: below it the first piece is there after 0.05 s.
	longFirst = 60
	// minFirst is what a first clause needs before a comma may end it: a word alone sounds cut off.
	minFirst = 24
)

// A line is one step of an utterance: a clause, or a pause when text is empty.
type line struct {
	text  string
	pause time.Duration
}

// plan cuts parts into clauses and pauses. It depends on nothing but parts, so the same prompt meets the same cache
// entries.
func plan(parts []Part) []line {
	var script []line
	first := true
	for _, p := range parts {
		for rest := normalise(p.Text); rest != ""; {
			var clause string
			clause, rest = cutClause(rest, first)
			if !speakable(clause) {
				continue
			}
			script = append(script, line{text: clause})
			first = false
		}
		if p.Pause > 0 {
			script = append(script, line{pause: p.Pause})
		}
	}
	return script
}

// normalise makes every run of white space one space and drops control and invalid characters.
func normalise(text string) string {
	var b strings.Builder
	space := false
	for _, r := range text {
		switch {
		case unicode.IsSpace(r), r == '\u200B': // zero width space
			space = true
			continue
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			continue
		}
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = false
		b.WriteRune(r)
	}
	return b.String()
}

// speakable reports whether there is anything to pronounce: engines make errors or clicks of bare punctuation.
func speakable(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsSymbol(r) || strings.ContainsRune("%&#@", r)
	})
}

// cutClause takes the next clause off text, which is normalised and not empty. A clause ends with its sentence; a
// longer one at its last comma, else at its last space, else anywhere.
func cutClause(text string, first bool) (clause, rest string) {
	limit := maxClause
	if first {
		limit = maxFirst
	}
	end, early, comma, space, n := len(text), 0, 0, 0, 0
scan:
	for i, r := range text {
		if n += weight(r); n > limit {
			end = cmp.Or(comma, space, i)
			break
		}
		after := i + utf8.RuneLen(r)
		switch {
		case r == ' ':
			space = i
		case sentenceEnd(text, i, r, after):
			end = after
			break scan
		case strings.ContainsRune(",;:，、；：", r) && (r > unicode.MaxASCII || atSpace(text, after)):
			if comma = after; early == 0 && n >= minFirst {
				early = after
			}
		}
	}
	if first && early > 0 && n > longFirst {
		end = early
	}
	for end < len(text) { // closing quotes belong to the sentence
		r, size := utf8.DecodeRuneInString(text[end:])
		if !strings.ContainsRune(`"')]”’»」』）`, r) {
			break
		}
		end += size
	}
	return strings.TrimSpace(text[:end]), strings.TrimSpace(text[end:])
}

// weight is how many characters' time one takes: digits are spoken as words.
func weight(r rune) int {
	if unicode.IsNumber(r) {
		return 6
	}
	return 1
}

// sentenceEnd reports whether the character r at text[i:after] ends a sentence.
func sentenceEnd(text string, i int, r rune, after int) bool {
	switch r {
	case '。', '！', '？', '।', '؟':
		return true
	case '!', '?', '…':
		return atSpace(text, after)
	case '.':
		return atSpace(text, after) && !abbreviation(text[:i])
	}
	return false
}

func atSpace(text string, at int) bool {
	return at >= len(text) || text[at] == ' ' || text[at] == '"' || text[at] == '\'' || text[at] == ')'
}

// abbreviation reports whether the last word of text takes a full stop without ending a sentence: an initial
// ("J. Smith", "a.m. today" splits late at worst) or a title.
func abbreviation(text string) bool {
	word := strings.ToLower(text[strings.LastIndexAny(text, ` ("`)+1:])
	switch word {
	case "mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "no", "nr", "inc", "ltd", "co", "ext", "approx", "e.g", "i.e":
		return true
	}
	return len(word) == 1 && word[0] >= 'a' && word[0] <= 'z' && word != "i"
}
