"""Twelve tools as they might describe themselves, and requests to them: for routing without any example.

Of our own; the requests were written after the router's constants were set, and none of them was set by these.
"""

__all__ = ["OTHERS", "REQUESTS", "TOOLS"]

TOOLS = {
    "list-files": "Lists the files in a folder that you were allowed to see. Use when somebody asks what is in a "
    "folder.",
    "read-file": "Reads a text file, or some lines of it. Use when somebody wants to see what a file says.",
    "search-files": "Searches the files of a folder for a word or a phrase, and gives the lines where it stands.",
    "write-file": "Writes a new file, or changes an existing one, after showing the difference.",
    "run-python": "Runs a few lines of Python in the sandbox and gives what they print.",
    "remember": "Keeps a note in memory. Use when somebody asks you to remember something.",
    "recall": "Searches the notes in memory. Use when somebody asks what they told you earlier.",
    "date-and-time": "Tells the date, the time, the day of the week, or how many days lie between two dates.",
    "arithmetic": "Calculates exactly: sums, percentages, roots, conversions of numbers.",
    "fetch-url": "Gets a web page by its address and gives its text.",
    "meeting-summarizer": "Summarises the transcript of a meeting: decisions, action items with owners, and open "
    "questions. Use for minutes, notes or recordings of meetings.",
    "document-qa": "Answers questions about documents with quotes and line references. Use when somebody asks what "
    "a contract, report or manual says.",
}

REQUESTS = {
    "list-files": (
        "which files are in ~/taxes/2025",
        "show the contents of this folder",
        "how many documents are there in my desktop folder",
        "what did i save in the recipes directory",
    ),
    "read-file": (
        "let me see notes.md",
        "what is written in the file letter.txt",
        "display lines 10 to 30 of server.log",
        "open the changelog file",
    ),
    "search-files": (
        "look through my documents for the phrase 'final notice'",
        "in which file did i mention the landlord",
        "find all lines with the word error in the logs folder",
        "search my project for the function parse",
    ),
    "write-file": (
        "write a file named hello.txt that says hi",
        "edit the config file and set the port to 8080",
        "replace the second paragraph of intro.md",
        "make a new file with this text",
    ),
    "run-python": (
        "can you run some python for me",
        "execute this code: for i in range(3): print(i)",
        "use python to sort these names",
        "run my snippet and show the output",
    ),
    "remember": (
        "remember my passport expires in june",
        "keep a note that the wifi name is attic",
        "save to memory that i drive a blue van",
        "please memorise that tom likes chess",
    ),
    "recall": (
        "what did i say my passport's expiry was",
        "have i told you the wifi name",
        "search your memory for tom",
        "which notes do you have about my van",
    ),
    "date-and-time": (
        "what's the date",
        "tell me the current time",
        "how many days between 1 may and 20 june",
        "what day of the week is christmas this year",
    ),
    "arithmetic": (
        "compute 45 * 19",
        "how much is 8 percent of 1250",
        "add up 3, 17, 22 and 104",
        "what is the cube root of 729",
    ),
    "fetch-url": (
        "get https://example.net/page.html",
        "read me the web page at www.example.com/blog",
        "what's on the site http://example.org",
        "load this url and give me the text",
    ),
    "meeting-summarizer": (
        "give me a summary of monday's meeting",
        "what are the action items from this call transcript",
        "write up the minutes from the recording",
        "which decisions did the board meeting reach",
    ),
    "document-qa": (
        "what does the report say about sales",
        "where in the contract is the payment term",
        "does the manual explain how to change the filter",
        "quote the part of the policy about refunds",
    ),
}
"""What each of the tools is wanted for."""

OTHERS = (
    "sing me a song", "who painted the mona lisa", "i'm bored", "what's a good name for a boat",
    "reserve a table for two tonight", "turn up the heating", "how far away is the moon",
    "who is the prime minister",
    "make me laugh", "do you have feelings", "what should i wear to a wedding", "order more coffee beans",
    "call a taxi", "is it sunny in madrid", "how do i get rid of ants", "translate thank you into japanese",
    "what causes earthquakes", "tell me a bedtime story", "pause the music", "which team won last night",
    "how do i bake sourdough", "give me tips for a job interview", "block my credit card", "good morning",
    "what's the best phone to buy", "who invented the telephone", "how much do elephants weigh",
    "help me sleep better", "what's the population of brazil", "thank you so much",
)  # fmt: skip
"""What none of them is for."""
