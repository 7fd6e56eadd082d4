module block

go 1.22

require github.com/btcsuite/btcd v0.24.2

require (
	github.com/btcsuite/btcd/chaincfg/chainhash v1.1.0 // indirect
	golang.org/x/crypto v0.0.0-20200622213623-75b288015ac9 // indirect
	golang.org/x/sys v0.0.0-20200814200057-3d37ad5750ed // indirect
)
