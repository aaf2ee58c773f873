package configs

// Lines shows the tests what the scanner finds in any text, whether TOML or not.
func Lines(text string) (lines map[string]int, tooDeep bool) {
	root, deep := scan(text)
	return root.flatten(), deep > 0
}
