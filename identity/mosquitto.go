package identity

// NewPasswordLine is the line of a login that is not the house's own, such as
// the leader's at another broker.
func NewPasswordLine(user, password string) (PasswordLine, error) {
	hash, err := hashPassword(password)
	return PasswordLine{user, hash}, err
}
