package pdf

import (
	"fmt"
	"strings"
	"time"
)

var months = [...]string{"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"}

// Day writes a day in French.
func Day(t time.Time) string {
	d := fmt.Sprint(t.Day())
	if t.Day() == 1 {
		d = "1er"
	}
	return fmt.Sprintf("%s %s %d", d, months[t.Month()-1], t.Year())
}

// Date writes YYYY-MM-DD, or what there is, as a day.
func Date(s string) string {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return s
	}
	return Day(t)
}

// Duration writes P10Y and the like.
func Duration(s string) string {
	if s == "unlimited" {
		return "illimitée"
	}
	var n int
	var unit rune
	if _, err := fmt.Sscanf(s, "P%d%c", &n, &unit); err != nil {
		return s
	}
	word, ok := map[rune][2]string{'Y': {"an", "ans"}, 'M': {"mois", "mois"}, 'D': {"jour", "jours"}}[unit]
	switch {
	case !ok:
		return s
	case n < 2:
		return fmt.Sprintf("%d %s", n, word[0])
	}
	return fmt.Sprintf("%d %s", n, word[1])
}

// Action writes a final action.
func Action(s string) string {
	if f := map[string]string{"Keep": "Conservation", "Destroy": "Élimination", "Sort": "Tri"}[s]; f != "" {
		return f
	}
	return s
}

// Octets writes a size with a decimal comma.
func Octets(n int64) string {
	units := []string{"octets", "ko", "Mo", "Go", "To"}
	size, i := float64(n), 0
	for size >= 1000 && i < len(units)-1 {
		size, i = size/1000, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d octets", n)
	}
	return strings.Replace(fmt.Sprintf("%.1f %s", size, units[i]), ".", ",", 1)
}
