package host

// What only the machine's own files can show otherwise.
var (
	Power     = power
	Processor = processor
)
