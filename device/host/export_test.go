package host

// What only the machine's own files can show otherwise.
var (
	Supply    = supply
	Processor = processor
)
