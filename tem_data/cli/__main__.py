from tem_data.cli import main

main()
